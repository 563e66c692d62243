//! lastword: a host for sandboxed agents whose last word is always on disk.

pub mod capability;
pub mod clock;
pub mod event;
pub mod id;
pub mod run;
pub mod session;
#[doc(hidden)]
pub mod store;
