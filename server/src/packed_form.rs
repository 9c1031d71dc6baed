//! The packed form of a file, opened to be handed out.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use at1w_container::{Digest, ReadAt};

/// How long a packed form is handed out as it was opened to clients that begin: it may have been
/// repaired, or stored in another way.
const FRESH: Duration = Duration::from_secs(60);

/// The packed form of a file.
pub(crate) struct Packed {
    pub(crate) source: Box<dyn ReadAt>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    /// The features that a client needs to read it.
    pub(crate) features: u64,
}

impl Packed {
    pub(crate) fn new(source: Box<dyn ReadAt>, features: u64) -> io::Result<Self> {
        let size = source.size()?;
        // The index and the trailer tell one generation from another of the same root.
        let tail = source.read_at(size.saturating_sub(128)..size)?.into_owned();
        let mark = Digest::of(&[&tail[..], &size.to_le_bytes()].concat());
        Ok(Self { source, size, etag: mark.to_string(), features })
    }
}

/// The packed form of a file as it was opened last, and as it was before.
pub(crate) struct Generations {
    newest: Arc<Packed>,
    before: Option<Arc<Packed>>,
    opened: Instant,
}

impl Generations {
    /// Takes a packed form that was opened now, and what there was.
    pub(crate) fn new(newest: &Arc<Packed>, known: Option<&Self>) -> Self {
        let before = known.map(|known| match known.newest.etag == newest.etag {
            true => known.before.clone(),
            false => Some(Arc::clone(&known.newest)),
        });
        Self { newest: Arc::clone(newest), before: before.flatten(), opened: Instant::now() }
    }

    /// Returns the one that a client has begun with, or else the newest, unless it was opened too
    /// long ago.
    pub(crate) fn choose(&self, has_begun: impl Fn(&str) -> bool) -> Option<Arc<Packed>> {
        let all = [Some(&self.newest), self.before.as_ref()];
        let known = all.into_iter().flatten().find(|packed| has_begun(&packed.etag));
        let fresh = || (self.opened.elapsed() < FRESH).then_some(&self.newest);
        known.or_else(fresh).cloned()
    }

    /// The number of packed forms.
    pub(crate) fn len(&self) -> u64 {
        1 + u64::from(self.before.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_goes_on_with_what_it_began_with() {
        let open =
            |byte: u8| Arc::new(Packed::new(Box::new(vec![byte; 200]), 0).expect("it is memory"));
        let choose =
            |of: &Generations, etag: &str| Some(of.choose(|one| one == etag)?.etag.clone());
        let (first, second, third) = (open(1), open(2), open(3));
        let mut known = Generations::new(&first, None);
        assert_eq!(choose(&known, "none"), Some(first.etag.clone()));
        let Some(long_ago) = Instant::now().checked_sub(FRESH) else { return };
        known.opened = long_ago;
        assert_eq!(choose(&known, "none"), None);
        assert_eq!(choose(&known, &first.etag), Some(first.etag.clone()));
        // The same lies elsewhere: both begin with the new place.
        let again = Generations::new(&open(1), Some(&known));
        assert_eq!(again.len(), 1);
        let mut known = Generations::new(&second, Some(&again));
        assert_eq!(choose(&known, "none"), Some(second.etag.clone()));
        assert_eq!(choose(&known, &first.etag), Some(first.etag.clone()));
        known.opened = long_ago;
        assert_eq!(choose(&known, "none"), None);
        let known = Generations::new(&third, Some(&known));
        assert_eq!(choose(&known, &second.etag), Some(second.etag.clone()));
        assert_eq!(choose(&known, &first.etag), Some(third.etag.clone()));
    }
}
