//! airside-devhost
fn main() {}
