//! The frames that the machines of a cluster receive.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use evenkeel_lab::net::Machines;
use evenkeel_lab_tests::frames::{Arp, Encapsulation, Frame, FrameCapture, Mac, Payload, Tunnel};

/// A capture on each machine.
pub(crate) struct Wire<'a> {
    machines: &'a Machines,
    captures: Vec<(String, FrameCapture)>,
    client: IpAddr,
}

/// An ARP message that a machine received.
#[derive(Debug)]
pub(crate) struct ArpReceived {
    pub(crate) receiver: String,
    /// The interface that the message names as the owner of its sender's address.
    pub(crate) sender: String,
    pub(crate) message: Arp,
}

impl<'a> Wire<'a> {
    /// Starts to capture. `client` is the address from which requests come.
    pub(crate) fn watch(machines: &'a Machines, client: &str) -> Self {
        let start = |(name, namespace): (&str, &evenkeel_lab::net::Namespace)| {
            (name.to_owned(), namespace.run(FrameCapture::start).unwrap())
        };
        let captures = machines.iter().map(start).collect();
        Self { machines, captures, client: client.parse().unwrap() }
    }

    /// Returns how the connection that was opened since the last call went over the wire, as lines
    /// `SENDER -> RECEIVER: ADDRESS:PORT -> ADDRESS:PORT`, one for each way and each stretch of
    /// it. The client's port, which is the same everywhere, is shown as `PORT`.
    pub(crate) fn stretches(&self) -> BTreeSet<String> {
        let frames: Vec<Frame> = self.received().into_iter().map(|(_, frame)| frame).collect();
        let of_client = |end: SocketAddr| (end.ip() == self.client).then_some(end.port());
        // Of an earlier connection, the last segments may have arrived just now.
        let opened: BTreeSet<u16> = frames
            .iter()
            .filter_map(|frame| match frame.payload {
                Payload::Tcp { from, to, is_syn: true, .. } => of_client(from).or(of_client(to)),
                _ => None,
            })
            .collect();
        let line = |frame: &Frame| {
            let Payload::Tcp { outer, from, to, .. } = frame.payload else { return None };
            // Any other port than the client's own counts as another connection.
            let [from, to] = [from, to].map(|end| match of_client(end) {
                Some(port) if opened.contains(&port) => format!("{}:PORT", end.ip()),
                _ => end.to_string(),
            });
            let inner = format!("{from} -> {to}");
            let packet = match outer {
                Some(Tunnel { encapsulation, from, to }) => {
                    let kind = match encapsulation {
                        Encapsulation::Ip => "",
                        Encapsulation::Gre => "gre ",
                        Encapsulation::Gue => "gue ",
                    };
                    format!("{kind}{from} -> {to} ({inner})")
                }
                None => inner,
            };
            let (source, destination) = (self.name(frame.source), self.name(frame.destination));
            packet.contains(":PORT").then(|| format!("{source} -> {destination}: {packet}"))
        };
        assert_eq!(opened.len(), 1, "one connection in {frames:?}");
        frames.iter().filter_map(line).collect()
    }

    /// Returns the ARP messages that machines received since the last call.
    pub(crate) fn arp(&self) -> Vec<ArpReceived> {
        let arp = |(receiver, frame): (String, Frame)| match frame.payload {
            Payload::Arp(message) => {
                Some(ArpReceived { receiver, sender: self.name(message.sender_mac), message })
            }
            _ => None,
        };
        self.received().into_iter().filter_map(arp).collect()
    }

    /// Returns what all machines received since the last call.
    fn received(&self) -> Vec<(String, Frame)> {
        let all = self.captures.iter();
        all.flat_map(|(name, capture)| {
            capture.received().into_iter().map(|frame| (name.clone(), frame))
        })
        .collect()
    }

    fn name(&self, mac: Mac) -> String {
        let known = self.machines.interfaces().get(&mac);
        known.cloned().unwrap_or_else(|| format!("{mac:02x?}"))
    }
}
