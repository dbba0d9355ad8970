//! A server over rows in memory: the gateway's own ceiling, to be compared with redis-server by redis-benchmark.
//!
//! `cargo run --release -p resp-gateway --example memory -- 127.0.0.1:7777 [partitions]`

#[path = "../tests/gateway/memory.rs"]
#[allow(dead_code)]
mod memory;

use memory::Memory;
use resp_gateway::{Options, bind, serve};
use std::rc::Rc;
use tokio::task::LocalSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let partitions = args.next().map_or(Ok(8), |count| count.parse())?;
    let listener = bind(address.parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let backend = Memory::default().with_table("default", None, partitions);
    let serving = serve(
        listener,
        Options::default(),
        Rc::new(backend),
        std::future::pending(),
    );
    Ok(LocalSet::new().block_on(&runtime, serving)?)
}
