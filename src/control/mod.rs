//! Everything that may block and happens outside the cores: settings, credentials, data directories, logs.

pub mod about;
pub mod admin;
pub mod audit;
pub mod bytes_size;
pub mod cli;
pub mod command;
pub mod config;
pub mod credentials;
pub mod data_directory;
pub mod delivery;
pub mod doctor;
pub mod drain;
pub mod forget;
pub mod health;
pub mod identities;
pub mod logging;
pub mod master_key;
pub mod metrics;
pub mod origin;
pub mod post;
pub mod private_file;
pub mod tls;
pub mod webhook;

pub use config::Settings;
