//! Going on without what was sealed under a master key that is lost for good
//! (docs/decisions/0023-lost-master-key.md).

use std::sync::Arc;

use crate::auth::directory::{self, entry};
use crate::crypt::MasterKey;
use crate::engine::{ConfigChange, Engine};
use crate::io::Host;
use crate::s3::encryption::vault::{self, Vault};

/// Takes the access keys out of all accounts and users, and gives every encryption key another version, sealed under
/// `master`. What was encrypted under the versions before it is lost with the key that had `fingerprint`. When it
/// returns, every core uses what is left. May be cut off anywhere, and done once more.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub async fn forget<H: Host>(
    engine: &Engine<H>,
    master: &Arc<MasterKey>,
    fingerprint: &str,
) -> Result<(), String> {
    let config = engine.config();
    let (mut entries, mut holders, mut keys) = (Vec::new(), Vec::new(), 0);
    for (name, value) in config.entries.iter().filter(|(name, _)| name.starts_with(directory::PREFIX)) {
        let left = entry::without_keys(name, value).map_err(|error| error.to_string())?;
        let Some(left) = left else { continue };
        keys += left.key_ids.len();
        holders.push((name.clone(), left.key_ids));
        entries.push((name.clone(), left.value));
    }
    let renewed = vault::give_up(engine.host(), &Vault::new(master.clone(), config))
        .map_err(|error| format!("an encryption key cannot be given up: {error:?}"))?;
    tracing::warn!(
        "--forget-master-key: what the lost master key {fingerprint} sealed is given up for good: {keys} access keys \
         of {} users and accounts, and the versions that {} encryption keys had; objects encrypted under those can \
         not be read any more",
        holders.len(),
        renewed.len(),
    );
    for (name, key_ids) in holders {
        tracing::warn!("--forget-master-key: '{name}' loses its access keys {}", key_ids.join(", "));
    }
    entries.extend(renewed);
    for change in ConfigChange::split(entries) {
        engine.change_config(change).await.map_err(|error| format!("cannot write to the log: {error}"))?;
    }
    Ok(())
}
