//! Whether the route to a target leads over a link that is down.

use std::fmt::Debug;
use std::net::IpAddr;

use crate::clock::Moment;

/// The routes of this host. A failure over a link that is down says nothing about the target.
///
/// The prober's thread calls it: an answer must not wait for anything but the kernel.
pub trait Routes: Debug + Send {
    /// Notes over which link the address is reached, now that it can be: when that link goes down, the kernel
    /// may forget the route.
    fn learn(&mut self, address: IpAddr, now: Moment);

    /// Whether the link over which the address was reached is down.
    fn is_cut_off(&mut self, address: IpAddr, now: Moment) -> bool;
}

/// Routes of which nothing is known: every failure counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRoutes;

impl Routes for NoRoutes {
    fn learn(&mut self, _: IpAddr, _: Moment) {}

    fn is_cut_off(&mut self, _: IpAddr, _: Moment) -> bool {
        false
    }
}
