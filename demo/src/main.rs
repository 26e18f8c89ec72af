//! airside-demo
fn main() {}
