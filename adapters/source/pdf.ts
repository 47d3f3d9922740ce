/** Text out of PDF files, page by page, with PDF.js as `unpdf` packs it for servers. */
import { extractText, getDocumentProxy } from 'unpdf';
import { looksLikePdf, UnreadableError, type Section } from './sections.js';

/** More pages than any document that a person asks about. */
const MAX_PAGES = 5_000;

/** Reads the text of each page; pages without any are left out.
 * @throws UnreadableError — `wrong-type`, `encrypted`, `broken`, `too-much-text`, or `no-text` where
 *   the pages are pictures. */
export async function pagesOf(bytes: Uint8Array): Promise<Section[]> {
  if (!looksLikePdf(bytes)) throw new UnreadableError('wrong-type');
  const pdf = await open(bytes);
  if (pdf.numPages > MAX_PAGES) throw new UnreadableError('too-much-text');
  let pages: readonly string[];
  try {
    ({ text: pages } = await extractText(pdf, { mergePages: false }));
  } catch {
    throw new UnreadableError('broken');
  }
  const sections = pages.flatMap((text, i) =>
    text.trim() === '' ? [] : [{ headings: [], page: i + 1, offset: 0, text }],
  );
  if (sections.length === 0) throw new UnreadableError('no-text');
  return sections;
}

async function open(bytes: Uint8Array) {
  try {
    return await getDocumentProxy(bytes, {
      // A font's program must not become one of ours.
      isEvalSupported: false,
      disableFontFace: true,
      useSystemFonts: false,
      // Only errors: warnings about a broken file go to the console.
      verbosity: 0,
    });
  } catch (error) {
    const isLocked = error instanceof Error && error.name === 'PasswordException';
    throw new UnreadableError(isLocked ? 'encrypted' : 'broken');
  }
}
