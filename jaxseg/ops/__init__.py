"""Operations, one a file: convolution, upsampling, resize, pooling, batch norm and their like."""
