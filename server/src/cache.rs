//! Values that are remembered, up to a sum of their weights.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by their keys. Those that were used last stay.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    most: u64,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    values: HashMap<K, Remembered<V>>,
    weight: u64,
    /// The number of look-ups.
    clock: u64,
}

#[derive(Debug)]
struct Remembered<V> {
    value: Arc<V>,
    weight: u64,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Makes a cache for values whose weights, in bytes, have at most this sum.
    pub(crate) fn new(most: u64) -> Self {
        let state = State { values: HashMap::new(), weight: 0, clock: 0 };
        Self { most, state: Mutex::new(state) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let clock = state.clock;
        let found = state.values.get_mut(key)?;
        found.used = clock;
        Some(Arc::clone(&found.value))
    }

    /// Remembers a value; others are forgotten where they are too heavy together. One that is too
    /// heavy alone is not remembered.
    pub(crate) fn insert(&self, key: K, value: &Arc<V>, weight: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(&key);
        if weight > self.most {
            return;
        }
        while state.weight + weight > self.most {
            let oldest = state.values.iter().min_by_key(|(_, value)| value.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            state.remove(&oldest);
        }
        state.clock += 1;
        let used = state.clock;
        state.values.insert(key, Remembered { value: Arc::clone(value), weight, used });
        state.weight += weight;
    }

    pub(crate) fn remove(&self, key: &K) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl<K: Eq + Hash, V> State<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(gone) = self.values.remove(key) {
            self.weight -= gone.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_within_the_weight() {
        let cache = Cache::new(10);
        let put = |key, weight| cache.insert(key, &Arc::new(key), weight);
        put(1, 4);
        put(2, 4);
        assert!(cache.get(&1).is_some());
        put(3, 4);
        assert!(cache.get(&1).is_some() && cache.get(&2).is_none() && cache.get(&3).is_some());
        put(4, 11);
        assert!(cache.get(&4).is_none() && cache.get(&1).is_some());
        put(5, 10);
        assert!(cache.get(&1).is_none() && cache.get(&5).is_some());
        cache.remove(&5);
        put(6, 10);
        assert!(cache.get(&6).is_some());
    }
}
