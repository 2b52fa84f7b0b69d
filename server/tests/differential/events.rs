//! Keyspace notifications instead of replies: what a server tells of each command is what it "answers".

use super::process::Process;
use crate::Server;
use crate::support::in_process::InProcess;
use crate::support::resp::Reply;
use sessile_server::notify;
use sessile_server::resp::Protocol;

/// All classes but those of events that come by themselves (`x`, `e`).
const FLAGS: &str = "Kg$lshztdmn";
const CLASSES: u32 = notify::KEYSPACE
    | notify::GENERIC
    | notify::STRING
    | notify::LIST
    | notify::SET
    | notify::HASH
    | notify::SORTED_SET
    | notify::STREAM
    | notify::KEY_MISS
    | notify::NEW;

/// Events as the bytes of a reply, which is an error if the command's was one.
fn answer(command: &[Vec<u8>], reply: &[u8], mut events: Vec<String>) -> Vec<u8> {
    if command[0].to_ascii_lowercase().starts_with(b"sort") {
        // The keys of a pattern are looked up in the order of a set, which has none.
        events.sort();
    }
    let kind = if reply.first() == Some(&b'-') { '-' } else { '+' };
    format!("{kind}{}\r\n", events.join(", ")).into_bytes()
}

fn event(database: &str, key: &[u8], name: &str) -> String {
    format!("{name} {database}:{}", key.escape_ascii())
}

/// Redis with a subscriber.
pub struct Listening {
    commands: Process,
    listener: Process,
}

impl Listening {
    /// Starts Redis; `None` if there is none on this machine.
    pub fn redis() -> Option<Listening> {
        let mut commands = Process::redis()?;
        let mut listener = commands.another();
        let set = ["CONFIG", "SET", "notify-keyspace-events", FLAGS].map(|word| word.as_bytes().to_vec());
        commands.exchange(&[set.to_vec()]);
        let subscribe = ["PSUBSCRIBE", "__keyspace@*", "marker"].map(|word| word.as_bytes().to_vec());
        listener.exchange(&[subscribe.to_vec()]);
        listener.receive();
        Some(Listening { commands, listener })
    }

    /// The events up to the next marker.
    fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let message = self.listener.receive();
            let (message, _) = Reply::parse(&message).expect("a whole message");
            let [_, _, channel, name] = &message.elements[..] else { panic!("not a message: {message:?}") };
            let Some(rest) = channel.text.strip_prefix(b"__keyspace@") else { return events };
            let end = rest.windows(3).position(|part| part == b"__:").expect("a channel's form");
            let database = String::from_utf8_lossy(&rest[..end]).into_owned();
            events.push(event(&database, &rest[end + 3..], &String::from_utf8_lossy(&name.text)));
        }
    }
}

impl Server for Listening {
    fn reset(&mut self, protocol: Protocol) {
        self.commands.reset(protocol);
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let marker = ["PUBLISH", "marker", ""].map(|word| word.as_bytes().to_vec()).to_vec();
        let marked: Vec<_> = commands.iter().flat_map(|command| [command.clone(), marker.clone()]).collect();
        let replies = self.commands.exchange(&marked);
        let replies = replies.iter().step_by(2).zip(commands);
        replies.map(|(reply, command)| answer(command, reply, self.events())).collect()
    }
}

/// Commands without a server, and the events that they note.
pub struct Noting(InProcess);

impl Noting {
    pub fn new() -> Noting {
        Noting(InProcess::new())
    }
}

impl Server for Noting {
    fn reset(&mut self, protocol: Protocol) {
        Server::reset(&mut self.0, protocol);
        self.0.settings.notify_events = CLASSES;
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let mut run = |command: &Vec<Vec<u8>>| {
            let replies = Server::run(&mut self.0, std::slice::from_ref(command));
            let events: Vec<String> = std::mem::take(&mut self.0.events)
                .iter()
                .map(|noted| event(&noted.database.to_string(), &noted.key, noted.name))
                .collect();
            answer(command, &replies[0], events)
        };
        commands.iter().map(&mut run).collect()
    }
}
