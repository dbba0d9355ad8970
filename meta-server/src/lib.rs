//! meta-server
