//! The blocks of a page with commands.

/// The page that a newcomer begins with.
pub const README: &str = include_str!("../../../README.md");

/// Kinds of blocks without commands: answers and lists, and programs, which other tests run.
const WITHOUT_COMMANDS: [&str; 4] = ["text", "python", "js", "rust"];

/// The first line of a block that needs an account of AWS.
const IN_AWS: &str = "# In AWS.";

/// Commands that a reader pastes together.
#[derive(Clone, Debug)]
pub struct Block {
    /// The lines.
    pub text: String,
    /// The paragraph above the block.
    pub above: String,
}

impl Block {
    /// The first line that is no comment.
    pub fn first_command(&self) -> &str {
        self.text.lines().find(|line| !line.starts_with('#')).expect("a block without a command")
    }

    /// Whether the block starts a stack and holds its terminal.
    pub fn starts_a_stack(&self) -> bool {
        self.text.starts_with("cargo run -p local")
    }

    /// Whether the block can be pasted next to a local stack.
    pub fn can_be_pasted(&self) -> bool {
        !self.text.starts_with(IN_AWS) && !self.text.starts_with("cargo test")
    }

    /// How the status of the block's calls begins: as the paragraph above says it, or with a 2.
    pub fn status(&self) -> &str {
        self.above.split_once("the next call answers `").and_then(|(_, rest)| rest.get(..3)).unwrap_or("2")
    }
}

/// The blocks with commands, in the order of README.md.
pub fn commands() -> Vec<Block> {
    commands_of(README)
}

/// The blocks with commands, in the order of a page.
///
/// Fails on a block of a kind that is not known, and on one that is only indented: nobody could say whether to paste it.
pub fn commands_of(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut above, mut rest) = (String::new(), page);
    while let Some((text, opened)) = rest.split_once("```") {
        assert!(text.ends_with('\n'), "a block must begin on a line of its own: {text}");
        let indented = text.lines().find(|line| line.starts_with("    "));
        assert_eq!(indented, None, "an indented block must become one with a kind");
        if let Some(paragraph) = text.trim_end().rsplit("\n\n").next().filter(|it| !it.trim().is_empty()) {
            paragraph.trim().clone_into(&mut above);
        }
        let (kind, opened) = opened.split_once('\n').unwrap();
        let (text, closed) = opened.split_once("\n```\n").expect("a block without an end");
        rest = closed;
        match kind {
            "sh" => blocks.push(Block { text: text.to_owned(), above: above.clone() }),
            kind => {
                assert!(WITHOUT_COMMANDS.contains(&kind), "a block of an unknown kind, {kind}: {text}")
            }
        }
        let is_command = |line: &&str| ["curl ", "cargo ", "aws ", "sam ", "$ "].iter().any(|it| line.starts_with(it));
        let stray = text.lines().find(is_command).filter(|_| kind != "sh");
        assert_eq!(stray, None, "a command must stand in a block of the kind sh");
    }
    let indented = rest.lines().find(|line| line.starts_with("    "));
    assert_eq!(indented, None, "an indented block must become one with a kind");
    blocks
}
