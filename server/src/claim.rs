//! Whose a namespace is: that of this store, or that of an upstream whose repositories are kept. It
//! is one of them for good, so that nobody can publish under a name that is private elsewhere.

use at1w_remote::Created;

use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::owner::Owner;

impl Hub {
    /// Returns the owner of a namespace; `None` of one that nobody has used.
    pub(crate) fn owner(&self, namespace: &str) -> Answer<Option<Owner>> {
        let objects = self.store.objects();
        if let Some(owner) = self.known_owner(namespace) {
            return Ok(Some(owner));
        }
        let owner = match objects.get(&key(namespace))?.as_deref() {
            Some(b"upstream") => Owner::Upstream,
            Some(_) => Owner::Local,
            // A push past every server makes a namespace local as well.
            None if !objects.folders(&format!("repos/{namespace}"))?.is_empty() => Owner::Local,
            None => return Ok(None),
        };
        self.learn_owner(namespace, owner);
        Ok(Some(owner))
    }

    /// Claims a namespace for its first repository.
    pub(crate) fn claim(&self, namespace: &str, owner: Owner) -> Answer<()> {
        at1w_registry::check_namespace(namespace)?;
        let found = match self.owner(namespace)? {
            Some(found) => found,
            None => {
                let made = self.store.objects().create(&key(namespace), owner.text())?;
                if made == Created::Made { owner } else { self.owner(namespace)?.unwrap_or(owner) }
            }
        };
        if found == owner {
            return Ok(());
        }
        Err(Problem::forbidden(match found {
            Owner::Local => format!("{namespace} is a namespace of this store alone"),
            Owner::Upstream => format!("{namespace} is kept from upstream: use another namespace"),
        }))
    }
}

fn key(namespace: &str) -> String {
    format!("owners/{namespace}")
}
