//! What the server's tests share.

pub mod draw;
pub mod in_process;
pub mod resp;
