//! The program as its users run it: arguments in, two streams and an exit status out. What needs a
//! kernel with IPVS is tested in the lab.

mod bad_input;
mod cut_off;
mod exit_codes;
mod golden;
mod parameters;
mod program;
mod specs;
mod streams;
