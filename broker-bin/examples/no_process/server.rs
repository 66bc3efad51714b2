//! The server under test: natsd in the process, or nats-server as a process.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use broker_bin::testing::TestNatsd;

use super::Result;

/// See the module documentation.
pub(super) enum Server {
    Ours(Box<TestNatsd>),
    Theirs(Process),
}

/// A nats-server process, started as the original tests do.
pub(super) struct Process {
    child: Child,
    program: Box<OsStr>,
    folder: tempfile::TempDir,
    port: u16,
    pause: Duration,
}

impl Server {
    /// Starts a process and sleeps; without a program, starts an in-process broker.
    pub(super) async fn start(
        config: &str,
        program: Option<&OsStr>,
        pause: Duration,
    ) -> Result<Self> {
        let Some(program) = program else {
            return Ok(Self::Ours(Box::new(TestNatsd::builder().config(config).start().await?)));
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let child = spawn(program, &folder, port, config)?;
        let process = Process { child, program: program.into(), folder, port, pause };
        process.wait().await?;
        Ok(Self::Theirs(process))
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Ours(natsd) => natsd.url(),
            Self::Theirs(process) => format!("nats://127.0.0.1:{}", process.port),
        }
    }

    pub(super) fn way(&self) -> &'static str {
        match self {
            Self::Ours(_) => "natsd in the process",
            Self::Theirs(_) => "nats-server as a process",
        }
    }

    /// Waits until `subject` has a subscription: observed in process, or by sleeping.
    pub(super) async fn wait_for_subscription(&self, subject: &str, pause: Duration) {
        match self {
            Self::Ours(natsd) => natsd.wait_for_subscription(subject).await,
            Self::Theirs(_) => tokio::time::sleep(pause).await,
        }
    }

    /// Stops the server and starts it at the same port with another configuration.
    pub(super) async fn restart_with(&mut self, config: &str) -> Result<()> {
        match self {
            Self::Ours(natsd) => natsd.restart_with(config).await?,
            Self::Theirs(process) => {
                process.child.kill()?;
                process.child.wait()?;
                process.child = spawn(&process.program, &process.folder, process.port, config)?;
                process.wait().await?;
            }
        }
        Ok(())
    }
}

fn spawn(program: &OsStr, folder: &tempfile::TempDir, port: u16, config: &str) -> Result<Child> {
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"]).arg(file);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

impl Process {
    /// Sleeps as long as the original test does, or polls every 20 ms if it does.
    async fn wait(&self) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("nats-server did not start".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
