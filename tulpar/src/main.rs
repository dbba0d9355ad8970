//! tulpar
fn main() {}
