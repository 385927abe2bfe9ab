//! Tests what a host is by its role: it gets everything that the role needs, and a teardown leaves it as
//! it was before.
//!
//! Traffic is tested by `guides`.

mod bad_input;
mod cases;
mod drift;
mod fixed_role;
mod gateway;
mod host;
mod kill;
mod learned_mac;
mod leaving;
mod packet_rules;
mod return_path;
mod snapshot;
mod state;
mod targets;
mod teardown;
mod upgrade;
