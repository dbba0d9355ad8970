//! Compiles the .proto files with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=protos");
    let files = [
        "protos/common.proto",
        "protos/data.proto",
        "protos/meta.proto",
        "protos/peer.proto",
        "protos/inspect.proto",
    ];
    let descriptors = protox::compile(files, ["protos"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
