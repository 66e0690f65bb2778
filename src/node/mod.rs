//! Starts the cores and joins the layers.

pub mod life;
pub mod listener;
pub mod mesh;
pub mod placement;
