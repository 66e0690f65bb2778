//! Filled by its layer's change.
