//! Loads the files of the command line as one spec and shows what comes out.
#![allow(clippy::print_stdout)]

use evenkeel_spec::{Source, load};

fn main() -> std::io::Result<()> {
    let mut sources = Vec::new();
    for name in std::env::args().skip(1) {
        sources.push(Source { text: std::fs::read(&name)?, name });
    }
    match load(&sources) {
        Ok(loaded) => {
            println!("{}", loaded.warnings.render(&sources, false));
            println!("{:#?}", loaded.desired);
        }
        Err(problems) => println!("{}\n{problems}", problems.render(&sources, false)),
    }
    Ok(())
}
