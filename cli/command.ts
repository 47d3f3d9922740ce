/** A subcommand of `cortensor`. */
export interface Command {
  /** Printed by `--help`: usage, options, exit codes. */
  readonly help: string;
  /** @param argv - what follows the command's name.
   * @returns the exit code. */
  run(argv: readonly string[]): Promise<number>;
}
