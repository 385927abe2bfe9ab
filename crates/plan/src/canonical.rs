//! The canonical form in which states are compared.
//!
//! The kernel stores and echoes values that have no meaning in their context (e.g. the port of an
//! ipip tunnel). Left in, each would be a difference that no operation can remove. Both sides pass
//! through the same functions, so that equality is decided only here.

use evenkeel_model::RealServer;

/// Converts a real server to canonical form.
///
/// The configuration of a service needs no conversion: its type cannot hold values without meaning
/// (e.g. the timeout of a service without persistence).
pub fn real_server(mut real_server: RealServer) -> RealServer {
    real_server.forward = real_server.forward.canonical();
    real_server
}
