//! What a guest may ask of its host: one folder for each capability.

pub mod model;
