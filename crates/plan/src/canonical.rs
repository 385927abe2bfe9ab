//! The one form in which states are compared.
//!
//! The kernel keeps and echoes values that mean nothing where they stand (the port of an ipip
//! tunnel, say). Left in, each would be a difference that no operation can close. Both sides go
//! through the same functions, so that "equal" is decided here and nowhere else.

use evenkeel_model::RealServer;

/// A real server in canonical form.
///
/// A service's own configuration needs no such step: what means nothing there (the timeout of a
/// service without persistence) has no place in its type.
pub fn real_server(mut real_server: RealServer) -> RealServer {
    real_server.forward = real_server.forward.canonical();
    real_server
}
