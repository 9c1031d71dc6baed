//! From the elements of a tensor to its model, in as many passes over its chunks as the level asks
//! for.

mod byte_passes;
mod byte_statistics;
mod column_moments;
mod context_choice;
mod difference_builder;
mod difference_estimate;
mod low_planes;
mod model_builder;
mod plane_statistics;
mod quantise;
mod refinement;
mod sample;
mod scale_costs;
mod scale_statistics;
mod symbol_counts;

pub use difference_builder::DifferenceBuilder;
pub use difference_estimate::DifferenceEstimate;
pub use model_builder::{ModelBuilder, Next};
