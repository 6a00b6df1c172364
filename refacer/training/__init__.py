"""What `refacer finetune` trains with: data, augmentation, losses, loop, checkpoints."""
