//! The names of levels.

use at1w_container::Level;

/// Returns the name of a level, as the command line spells it.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Fast => "fast",
        Level::Max => "max",
        _ => "default",
    }
}
