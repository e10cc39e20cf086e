//! Two keys that talk to each other: a keyed sink writes a topic that the same topology reads. Each
//! message goes to the partition of its key, so to the task that owns it, whoever runs that.
#![allow(clippy::print_stdout)] // an example speaks

use bps_streams::{
    Context, DeadLetter, Keyed, Message, Node, ProcessResult, Processor, Record, Sink, SinkId,
    Source, Store, StoreId, TestDriver, Topology,
};

/// The ball comes to a player, and may go back to the other one so many times.
struct Ball<'a> {
    player: &'a str,
    other: &'a str,
    strokes_left: u32,
}

impl Keyed for Ball<'_> {
    fn key(&self) -> &[u8] {
        self.player.as_bytes()
    }
}

/// The key is the player, the value `other strokes`.
fn read<'a>(record: &Record<'a>) -> Result<Ball<'a>, DeadLetter> {
    let text = |bytes: Option<&'a [u8]>| std::str::from_utf8(bytes?).ok();
    let ball = || {
        let (other, strokes) = text(record.value)?.split_once(' ')?;
        Some(Ball { player: text(record.key)?, other, strokes_left: strokes.parse().ok()? })
    };
    ball().ok_or_else(|| DeadLetter::new("NO_BALL", "it is not of the form: other strokes"))
}

struct Rally {
    strokes: StoreId,
    balls: SinkId,
}

impl Processor for Rally {
    type Input<'a> = Ball<'a>;

    fn process(&mut self, ball: Ball<'_>, context: &mut Context<'_>) -> ProcessResult {
        let Ball { player, other, strokes_left } = ball;
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u32>().ok();
        let before =
            context.get(self.strokes, player.as_bytes())?.and_then(|row| number(row.value));
        let strokes = (before.unwrap_or(0) + 1).to_string();
        context.put(self.strokes, player.as_bytes(), strokes.as_bytes())?;
        if let Some(left) = strokes_left.checked_sub(1) {
            let ball = format!("{player} {left}");
            context.send(self.balls, Message::new(other.as_bytes(), ball.as_bytes()))?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rally = Node::new("rally", |wiring| Rally {
        strokes: wiring.store("strokes"),
        balls: wiring.sink("balls"),
    });
    let topology = Topology::named("tennis")
        .store(Store::new("strokes", "player-strokes"))
        .sink(Sink::new("balls", "balls").keyed())
        .processor(
            rally
                .reads(Source::new("serves", "serves", read))
                .reads(Source::new("balls", "balls", read)),
        )
        .dead_letters("lost-balls")
        .build()?;
    println!("{topology}");
    let mut driver = TestDriver::new(topology);
    driver.send("serves", b"alice", b"bob 4", 1)?;
    for ball in driver.read("balls") {
        let player = String::from_utf8_lossy(ball.key.as_deref().unwrap_or_default()).into_owned();
        println!("partition {}: to {player}, who has it from {}", ball.partition, ball.text());
    }
    for player in ["alice", "bob"] {
        let (_, strokes) = driver.row("strokes", player.as_bytes())?.unwrap_or_default();
        println!("{player}: {} strokes", String::from_utf8_lossy(&strokes));
    }
    Ok(())
}
