//! A hub.
