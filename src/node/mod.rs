//! Starts the cores and joins the layers.

pub mod mesh;
