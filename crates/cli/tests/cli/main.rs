//! The program as its users run it: arguments in, two streams and an exit status out. What needs a
//! kernel with IPVS is tested in the lab.

mod bad_input;
mod cut_off;
mod golden;
mod parameters;
mod program;
mod specs;
mod statuses;
mod streams;
