//! The server (being written).
fn main() {}
