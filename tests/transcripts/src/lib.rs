//! Wire dialogues with a NATS server, and their runner.
//!
//! Each `*.txt` file beside this crate demonstrates one behaviour: what the clients send and must
//! receive, byte for byte. `README.md` there describes the format. A dialogue is played on a
//! [`Stage`]: a server behind TCP, or sessions without I/O under a simulated clock.
//!
//! ```
//! # use transcripts::{Dialogue, Setup};
//! let text = "# PING is answered by PONG.\n! max_payload 1024\na> PING\na< PONG\na=\n";
//! let dialogue = Dialogue::parse("ping", text).unwrap();
//! assert_eq!(dialogue.setup, Setup { max_payload: Some(1024), ..Setup::default() });
//! ```

mod config;
mod dialogue;
mod failure;
mod info;
mod play;
mod reference;
mod setup;
mod stage;
mod tcp;
mod text;

pub use config::config;
pub use dialogue::{Act, Dialogue, Expected, Flaw, Party, Server, Step};
pub use failure::Failure;
pub use info::InfoPattern;
pub use play::{play, play_all};
pub use reference::Reference;
pub use setup::{Cluster, Export, Import, Responses, Rules, Setup, User};
pub use stage::{Arrival, Entrance, Line, Stage};
pub use tcp::TcpStage;
