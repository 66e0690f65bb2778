//! What there is to know of a node since its start: for `ringcask status` and `ringcask config`.

use std::sync::Arc;

use super::origin::Setting;
use super::tls::Tls;

/// Facts that do not change while the node runs.
#[derive(Default)]
pub struct About {
    pub settings: Vec<Setting>,
    /// What each listening socket is for, and the URL by which a client on this machine reaches it.
    pub listeners: Vec<(&'static str, String)>,
    pub tls: Option<Arc<Tls>>,
}
