//! `tilegrad completions` and `tilegrad man`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// The command's name.
const NAME: &str = "tilegrad";

#[derive(Args)]
#[command(after_help = "Examples:
  tilegrad completions bash > ~/.local/share/bash-completion/completions/tilegrad
  tilegrad completions zsh > ~/.zfunc/_tilegrad
  tilegrad completions fish > ~/.config/fish/completions/tilegrad.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Arguments::command(), NAME, &mut script);
        super::print(&String::from_utf8_lossy(&script))
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  tilegrad man | man -l -
  tilegrad man > /usr/local/share/man/man1/tilegrad.1")]
pub(super) struct Manual {}

impl Manual {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut page = Vec::new();
        let command = super::Arguments::command().disable_help_flag(true);
        let man = clap_mangen::Man::new(command.clone());
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        page.extend(extra(&man, ".SH \"EXIT STATUS\"")?.bytes());
        for subcommand in command.get_subcommands() {
            add(&mut page, NAME, subcommand)?;
        }
        man.render_version_section(&mut page)?;
        super::print(&String::from_utf8_lossy(&page))
    }
}

/// What stands below a command's help, line by line as it is there, under another heading.
fn extra(man: &clap_mangen::Man, heading: &str) -> anyhow::Result<String> {
    let mut section = Vec::new();
    man.render_extra_section(&mut section)?;
    let section = String::from_utf8_lossy(&section);
    Ok(section.replace(".SH EXTRA\n", &format!("{heading}\n.nf\n")) + ".fi\n")
}

/// The sections of a command and of those below it.
fn add(page: &mut Vec<u8>, above: &str, command: &clap::Command) -> anyhow::Result<()> {
    let name = format!("{above} {}", command.get_name());
    let below: Vec<&clap::Command> = command.get_subcommands().collect();
    if below.is_empty() {
        let man = clap_mangen::Man::new(command.clone().bin_name(name.clone()).disable_help_flag(true));
        let mut sections = Vec::new();
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        let extra = extra(&man, ".SS \"NOTES AND EXAMPLES\"")?;
        page.extend(format!(".SH \"{}\"\n", name.to_uppercase()).into_bytes());
        // What are sections of a page by itself are parts of this one's.
        let sections = String::from_utf8_lossy(&sections);
        page.extend(sections.replace("\n.SH ", "\n.SS ").replacen(".SH ", ".SS ", 1).bytes());
        page.extend(extra.bytes());
    }
    below.into_iter().try_for_each(|command| add(page, &name, command))
}
