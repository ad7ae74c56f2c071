/** Files that go with a message: taken in when it is sent, so that one that is taken away again was never sent. */
import type { Attachment, AttachmentAdapter, CompleteAttachment, PendingAttachment } from "@assistant-ui/react";
import { netra } from "../session/netra";

export class ThreadFiles implements AttachmentAdapter {
  readonly accept = "*";

  constructor(readonly threadId: string) {}

  async add({ file }: { file: File }): Promise<PendingAttachment> {
    const type = file.type.startsWith("image/") ? "image" : "document";
    const status = { type: "requires-action", reason: "composer-send" } as const;
    return { id: crypto.randomUUID(), type, name: file.name, contentType: file.type, file, status };
  }

  async send(attachment: PendingAttachment): Promise<CompleteAttachment> {
    const { file_id } = await netra.upload(this.threadId, attachment.file);
    return { ...attachment, id: file_id, content: [], status: { type: "complete" } };
  }

  async remove(_: Attachment): Promise<void> {}
}
