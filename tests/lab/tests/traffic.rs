//! Tests clusters that evenkeel alone sets up, with traffic: one spec, applied on every host, and
//! nothing else configured but addresses, links and the routes of routers.
//!
//! After each set-up, another plan is in sync on every host, and `doctor` finds nothing there.

mod beside_keepalived;
mod direct_routing;
mod directors;
mod doctor;
mod doctor_packet_rules;
mod doctor_probe;
mod firewall_marks;
mod full_nat;
mod health;
mod leaving;
mod local_node;
mod nat;
mod persistence;
mod protocols;
mod site;
mod tunnels;

use std::collections::BTreeSet;

use site::{Examined, Site, assert_in_turn, lan};

use crate::guides::wire::Wire;
