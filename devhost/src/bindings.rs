//! The host side of Spin's interfaces, generated from `wit/`.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "host",
    imports: {
        "spin:key-value/key-value.[method]store.get-keys": trappable | store | async,
        "wasi:keyvalue/store": async,
        "wasi:keyvalue/atomics": async,
    },
    with: {
        "spin:key-value/key-value.store": crate::key_value::OpenStore,
        "wasi:keyvalue/store.bucket": crate::key_value::atomics::Bucket,
    },
});
