//! Listening to what goes over a cable.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use super::network::Namespace;

/// tcpdump, listening.
pub(crate) struct Sniffer {
    child: Child,
}

impl Sniffer {
    /// Listens on an interface from now on, to what the filter lets through.
    pub(crate) fn listen(namespace: &Namespace, interface: &str, filter: &str) -> Self {
        let words =
            format!("tcpdump -l -n -tt -e -Z root --immediate-mode -i {interface} {filter}");
        let mut command = namespace.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter runs");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let more = said.read_line(&mut line).expect("tcpdump speaks");
            assert!(more > 0, "tcpdump went away");
        }
        // Whatever else it says is nobody's business, but somebody has to take it.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Self { child }
    }

    /// The frames it heard, a line each.
    pub(crate) fn heard(mut self) -> Vec<String> {
        let pid = self.child.id().to_string();
        let _ = std::process::Command::new("kill").args(["-INT", &pid]).status();
        let mut out = String::new();
        let mut pipe = self.child.stdout.take().expect("piped");
        pipe.read_to_string(&mut out).expect("text");
        let _ = self.child.wait();
        out.lines().map(str::to_owned).collect()
    }
}

/// When a frame came by, in milliseconds since 1970.
pub(crate) fn heard_at(line: &str) -> u64 {
    let seconds: Option<f64> = line.split(' ').next().and_then(|word| word.parse().ok());
    (seconds.unwrap_or_else(|| panic!("a time: {line}")) * 1000.0) as u64
}
