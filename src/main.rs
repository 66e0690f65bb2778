//! The `ringcask` command: parses arguments and calls [`ringcask::node`].

fn main() {}
