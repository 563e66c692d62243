//! The Rust side of the WIT package: the only `bindgen!` of the host. The WIT files are the
//! documentation.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "agent-with-epilogue",
    imports: { default: async | trappable },
    exports: { default: async },
    require_store_data_send: true,
});
