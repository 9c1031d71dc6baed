//! at1w-container
