/** This machine, in the words that release archives use. */

/** Go's name of this platform, such as `linux_amd64` with `_` between its parts. */
export function goPlatform(between: '_' | '-'): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  return `${process.platform}${between}${arch}`;
}
