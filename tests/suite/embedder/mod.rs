//! What an embedder brings and what it holds: code of its own that panics or never returns costs
//! nothing of what others brought, and a host ends with its last handle, in order.

mod cycles;
mod dropped;
mod handles;
mod providers;
mod spans;
mod streams;
mod tenants;
