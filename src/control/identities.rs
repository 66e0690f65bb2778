//! The identities in force on one core: the directory of what the engine's configuration says now.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::forget::forget;
use crate::auth::Keys;
use crate::auth::directory::{Directory, DirectoryError, Identities, Operator};
use crate::base::secret::Secret;
use crate::crypt::MasterKey;
use crate::engine::{Config, Engine};
use crate::io::Host;

/// Name of the entry that tells which master key the node's secrets are sealed with.
const FINGERPRINT: &str = "master-key-fingerprint";

/// One core's view of who there is; clones share it.
///
/// A change of the configuration was acknowledged when every core uses it, and each request asks here
/// anew: so a revoked key stops at once, on open connections too.
pub struct LiveIdentities<H: Host> {
    engine: Engine<H>,
    operator: Operator,
    master: Arc<MasterKey>,
    /// Revision of the configuration that the directory was built from, and the directory.
    built: RefCell<(Option<u64>, Rc<Directory>)>,
}

impl<H: Host> LiveIdentities<H> {
    /// Knows the operator alone until [`LiveIdentities::check`] has read the stored identities.
    pub fn new(engine: Engine<H>, operator: Operator, master: Arc<MasterKey>) -> Rc<Self> {
        let empty = Directory::build(None, &operator, [], &|_, _| None);
        let empty = Rc::new(empty.expect("without entries nothing can be wrong"));
        let built = RefCell::new((None, empty));
        Rc::new(Self { engine, operator, master, built })
    }

    /// Reads the stored identities after the engine has recovered; not those that a master key sealed which is to be
    /// forgotten, by its fingerprint `forgotten`: core 0 does that ([`LiveIdentities::settle`]).
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt: the master key is another one, or an entry is damaged.
    pub fn check(&self, forgotten: Option<&str>) -> Result<(), String> {
        let (config, ours) = (self.engine.config(), self.fingerprint());
        if forgotten == Some(&ours) {
            return Err(format!(
                "--forget-master-key: {ours} is the master key that is given, which is not lost; leave the setting out"
            ));
        }
        match self.other_fingerprint(&config) {
            Some(theirs) if forgotten == Some(&theirs) => Ok(()),
            Some(theirs) => Err(format!(
                "the data was sealed with another master key: it has the fingerprint {theirs}, the one given has \
                 {ours}; give the one before with --master-key-file, RINGCASK_MASTER_KEY or its file; if it is lost \
                 for good, docs/IDENTITIES.md has what can be done",
            )),
            None => self.rebuild(&config).map(drop).map_err(|error| error.to_string()),
        }
    }

    /// Notes which master key is in use, after what a forgotten one has sealed was given up. When it returns, a start
    /// with another will be refused. On core 0, after [`LiveIdentities::check`].
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub async fn settle(&self, forgotten: Option<&str>) -> Result<(), String> {
        match (self.other_fingerprint(&self.engine.config()), forgotten) {
            (Some(theirs), Some(forgotten)) if forgotten == theirs => {
                forget(&self.engine, &self.master, &theirs).await?;
            }
            (Some(_), _) => return self.check(forgotten),
            (None, Some(forgotten)) => tracing::warn!(
                "--forget-master-key: nothing is sealed with the master key {forgotten}, and nothing was given up; \
                 leave the setting out"
            ),
            (None, None) => {}
        }
        let noted = self.engine.set_config(FINGERPRINT, Some(self.fingerprint().into_bytes())).await;
        noted.map_err(|error| format!("cannot write to the log: {error}"))?;
        self.check(None)
    }

    /// The fingerprint of the master key that the data was sealed with, if it is not the one in use.
    fn other_fingerprint(&self, config: &Config) -> Option<String> {
        let theirs = config.entries.get(FINGERPRINT)?;
        let theirs = String::from_utf8_lossy(theirs).escape_default().to_string();
        (theirs != self.fingerprint()).then_some(theirs)
    }

    /// The key under which the node's secrets are sealed.
    pub fn master_key(&self) -> &Arc<MasterKey> {
        &self.master
    }

    /// What tells master keys apart, in hex.
    fn fingerprint(&self) -> String {
        self.master.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Seals the secret of an access key: as [`crate::auth::directory::entry::Seal`].
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> Vec<u8> {
        self.master.seal(context, secret, |bytes| self.engine.host().random(bytes))
    }

    fn rebuild(&self, config: &Config) -> Result<Rc<Directory>, DirectoryError> {
        let open = |context: &[u8], sealed: &[u8]| {
            let opened = self.master.open(context, sealed).ok()?;
            std::str::from_utf8(&opened).ok().map(Secret::new)
        };
        let before = self.built.borrow().1.clone();
        let next = Rc::new(Directory::build(Some(&before), &self.operator, &config.entries, &open)?);
        self.built.replace((Some(config.revision), next.clone()));
        Ok(next)
    }
}

impl<H: Host> Identities for LiveIdentities<H> {
    fn directory(&self) -> Rc<Directory> {
        let config = self.engine.config();
        if let (Some(revision), directory) = &*self.built.borrow()
            && *revision == config.revision
        {
            return directory.clone();
        }
        self.rebuild(&config).unwrap_or_else(|error| {
            // Entries are written by this version of the node alone, so they can be read.
            tracing::error!("identities are as they were before the last change: {error}");
            self.built.borrow().1.clone()
        })
    }
}

impl<H: Host> Keys for LiveIdentities<H> {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        self.directory().secret(access_key_id)
    }
}
