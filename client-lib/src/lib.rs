//! tulpar-client
