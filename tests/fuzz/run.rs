//! The fuzzer of the target that this binary is named after.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::Target::named(env!("CARGO_BIN_NAME")).check(data));
