/** Attributes that sessions are found by in Temporal. Nothing secret: they are stored in plain. */
export const SEARCH_ATTRIBUTES = { SessionState: 'Keyword', SessionOwner: 'Keyword' } as const;
