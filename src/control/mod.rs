//! Everything that may block and happens outside the cores: settings, credentials, data directories, logs.

pub mod bytes_size;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod data_directory;
pub mod logging;
pub mod webhook;

pub use config::Settings;
